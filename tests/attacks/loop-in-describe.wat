;; Loops in `describe` without end.
(func $describe (result i32) (loop $again (br $again)) (unreachable))
