;; Counts its calls in a global, which must not survive a call.
;; result: {"type": "integer"}
(global $calls (mut i32) (i32.const 0))
(func $invoke (type $call)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (call $digit (global.get $calls)))
