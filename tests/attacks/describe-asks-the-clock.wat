;; Calls the clock in `describe`, whose result must not depend on the time.
;; capabilities: clock
(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))
(func $describe (result i32) (drop (call $now)) (i32.const 32))
