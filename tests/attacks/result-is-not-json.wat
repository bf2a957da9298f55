;; Returns a result that is not valid JSON.
(data (i32.const 512) "{\"a\": ")
(func $invoke (type $call) (call $answer (i32.const 512) (i32.const 6)))
