;; Returns an address outside of its memory.
(func $invoke (type $call) (i32.const -64))
