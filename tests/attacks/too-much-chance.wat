;; Requests more random bytes than one call may return.
;; capabilities: random
(import "blockyard:bundle/random@0.1.0" "fill" (func $random (param i32 i32)))
(func $invoke (type $call) (call $random (i32.const -1) (i32.const 512)) (call $null))
