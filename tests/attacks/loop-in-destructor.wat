;; Loops in the destructor of a handle without end.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-drop]parts" (func $drop (param i32)))
(func $destructor (param i32) (loop $again (br $again)))
(func $invoke (type $call) (call $drop (call $parts (i32.const 1))) (call $null))
