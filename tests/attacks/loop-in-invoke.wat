;; Loops in an operation without end.
(func $invoke (type $call) (loop $again (br $again)) (unreachable))
