;; Grows a table until growing fails.
(table $table 1 funcref)
(func $invoke (type $call)
    (loop $again (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
    (unreachable))
