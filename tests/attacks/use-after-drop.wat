;; Returns a dropped body as its output.
(import "blockyard:bundle/streams@0.1.0" "[static]body.from-bytes" (func $body (param i32 i32 i32 i32) (result i32)))
(import "blockyard:bundle/streams@0.1.0" "[resource-drop]body" (func $drop (param i32)))
(func $invoke (type $call)
    (local $body i32)
    (local.set $body (call $body (i32.const 96) (i32.const 4) (i32.const 96) (i32.const 4)))
    (call $drop (local.get $body))
    (call $output (i32.const 1) (local.get $body)))
