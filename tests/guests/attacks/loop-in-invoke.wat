;; An operation that computes for ever.
(func $invoke (type $call) (loop $again (br $again)) (unreachable))
