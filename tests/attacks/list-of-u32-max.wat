;; Returns a list of violations with the maximum length of 32 bits.
(data (i32.const 512) "\01\00\00\00\00\00\00\00\ff\ff\ff\ff")
(func $validate (param i32 i32 i32 i32) (result i32) (i32.const 512))
