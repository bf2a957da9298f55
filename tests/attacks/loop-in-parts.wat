;; Loops without end when its output is read, after the operation has returned.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(func $next (param i32) (result i32) (loop $again (br $again)) (unreachable))
(func $invoke (type $call) (call $output (i32.const 2) (call $parts (i32.const 1))))
