;; Calls the host in the start function.
;; capabilities: clock
(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))
(func $start (drop (call $now)))
(start $start)
