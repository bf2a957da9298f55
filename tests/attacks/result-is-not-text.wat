;; Returns a result that is not valid UTF-8.
(data (i32.const 512) "\"\ff\fe\"")
(func $invoke (type $call) (call $answer (i32.const 512) (i32.const 4)))
