;; Calls itself without end.
(func $invoke (type $call) (call $deeper) (call $null))
(func $deeper (call $deeper) (call $deeper))
