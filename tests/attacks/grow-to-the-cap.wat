;; Grows its memory by 16 MiB at a time until growing fails.
(func $invoke (type $call)
    (loop $again (br_if $again (i32.ne (memory.grow (i32.const 256)) (i32.const -1))))
    (unreachable))
