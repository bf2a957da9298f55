;; Waits in a function of the host beyond the deadline of the call.
;; capabilities: clock
(import "blockyard:bundle/clock@0.1.0" "sleep" (func $sleep (param i32)))
(func $invoke (type $call) (loop $again (call $sleep (i32.const 60000)) (br $again)) (unreachable))
