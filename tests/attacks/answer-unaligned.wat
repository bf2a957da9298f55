;; Returns an unaligned address.
(func $invoke (type $call) (i32.const 129))
