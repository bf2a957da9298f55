;; Would describe itself otherwise tomorrow.
;; capabilities: clock
(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))
(func $describe (result i32) (drop (call $now)) (i32.const 32))
