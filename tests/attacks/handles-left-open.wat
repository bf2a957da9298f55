;; Returns with a hundred open handles. The host closes them.
(import "blockyard:bundle/streams@0.1.0" "[static]body.from-bytes" (func $body (param i32 i32 i32 i32) (result i32)))
(func $invoke (type $call)
    (local $left i32)
    (local.set $left (i32.const 100))
    (loop $again
        (drop (call $body (i32.const 96) (i32.const 4) (i32.const 96) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left)))
    (call $null))
