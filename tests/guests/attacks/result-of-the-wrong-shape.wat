;; A number where the manifest promises nothing.
(func $invoke (type $call) (call $digit (i32.const 7)))
