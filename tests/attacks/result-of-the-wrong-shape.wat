;; Returns a number, although the schema of the result is `null`.
(func $invoke (type $call) (call $digit (i32.const 7)))
