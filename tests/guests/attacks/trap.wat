;; Ends at once.
(func $invoke (type $call) (unreachable))
