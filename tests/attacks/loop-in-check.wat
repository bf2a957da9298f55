;; Loops in `check` without end.
(func $check (param i32 i32 i32 i32 i64 i32 i32) (result i32) (loop $again (br $again)) (unreachable))
