;; A bundle that computes for ever when it is asked what it is.
(func $describe (result i32) (loop $again (br $again)) (unreachable))
