;; A result that is no JSON.
(data (i32.const 512) "{\"a\": ")
(func $invoke (type $call) (call $answer (i32.const 512) (i32.const 6)))
