;; Calls the host in the post-return function.
;; capabilities: log
(import "blockyard:bundle/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func $post (param i32)
    (if (i32.eq (local.get 0) (i32.const 128)) (then (call $log (i32.const 3) (i32.const 96) (i32.const 4)))))
(func $invoke (type $call) (call $answer (i32.const 96) (i32.const 4)))
