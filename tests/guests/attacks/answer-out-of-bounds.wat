;; Says that its answer lies beyond its memory.
(func $invoke (type $call) (i32.const -64))
