;; An endless output, one byte at a time.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(import "blockyard:bundle/streams@0.1.0" "[static]body.from-bytes" (func $body (param i32 i32 i32 i32) (result i32)))
(func $next (param i32) (result i32)
    (i32.store (i32.const 256) (i32.const 0))
    (i32.store (i32.const 260) (i32.const 1))
    (i32.store (i32.const 264) (call $body (i32.const 96) (i32.const 4) (i32.const 96) (i32.const 1)))
    (i32.const 256))
(func $invoke (type $call) (call $output (i32.const 2) (call $parts (i32.const 1))))
