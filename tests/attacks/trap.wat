;; Crashes immediately.
(func $invoke (type $call) (unreachable))
