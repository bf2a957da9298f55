;; Creates bodies of 1 MiB in the host without end.
(import "blockyard:bundle/streams@0.1.0" "[static]body.from-bytes" (func $body (param i32 i32 i32 i32) (result i32)))
(func $invoke (type $call)
    (drop (memory.grow (i32.const 16)))
    (loop $again
        (drop (call $body (i32.const 96) (i32.const 4) (i32.const 0) (i32.const 1048576)))
        (br $again))
    (unreachable))
