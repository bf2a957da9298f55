;; Fills 200 MiB with a single instruction, without end.
(func $invoke (type $call)
    (drop (memory.grow (i32.const 3200)))
    (loop $again
        (memory.fill (i32.const 1048576) (i32.const 1) (i32.const 200000000))
        (br $again))
    (unreachable))
