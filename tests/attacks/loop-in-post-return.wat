;; Returns a result, then loops in the post-return function without end.
(func $post (param i32)
    (if (i32.eq (local.get 0) (i32.const 128)) (then (loop $again (br $again)))))
(func $invoke (type $call) (call $answer (i32.const 96) (i32.const 4)))
