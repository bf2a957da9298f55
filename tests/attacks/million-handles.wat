;; Creates handles of its own resource, which the host tracks, without end.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(func $invoke (type $call)
    (loop $again (drop (call $parts (i32.const 1))) (br $again))
    (unreachable))
