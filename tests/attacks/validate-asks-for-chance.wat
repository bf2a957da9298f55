;; Requests random bytes in `validate`, whose result must not vary.
;; capabilities: random
(import "blockyard:bundle/random@0.1.0" "fill" (func $random (param i32 i32)))
(func $validate (param i32 i32 i32 i32) (result i32) (call $random (i32.const 1) (i32.const 512)) (i32.const 48))
