;; Returns the same address for every allocation. This harms only the bundle.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 65536))
