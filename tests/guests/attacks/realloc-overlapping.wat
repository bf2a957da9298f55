;; Gives the host the same memory for every text. It harms itself.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65536))
