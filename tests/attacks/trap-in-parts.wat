;; Crashes when its output is read.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(func $next (param i32) (result i32) (unreachable))
(func $invoke (type $call) (call $output (i32.const 2) (call $parts (i32.const 1))))
