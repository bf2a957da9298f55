;; Logs a line that clears the terminal, sets its title, forges another line and reverses the text direction.
;; capabilities: log
(import "blockyard:bundle/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 512) "a\1b[2J\1b]0;owned\07b\0derror: forged\0ac\c2\9b2Jd\e2\80\aee\e2\80\a8f")
(func $invoke (type $call) (call $log (i32.const 3) (i32.const 512) (i32.const 45)) (call $null))
