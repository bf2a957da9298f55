;; Imports a capability that its manifest does not request.
(import "blockyard:bundle/clock@0.1.0" "sleep" (func $sleep (param i32)))
(func $invoke (type $call) (call $sleep (i32.const 0)) (call $null))
