;; Logs lines of 1 MiB without end.
;; capabilities: log
(import "blockyard:bundle/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func $invoke (type $call)
    (drop (memory.grow (i32.const 32)))
    (memory.fill (i32.const 131072) (i32.const 120) (i32.const 1048576))
    (loop $again (call $log (i32.const 3) (i32.const 131072) (i32.const 1048576)) (br $again))
    (unreachable))
