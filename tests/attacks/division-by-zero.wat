;; Divides by zero.
(func $invoke (type $call) (i32.div_u (i32.const 1) (i32.load (i32.const 600))))
