;; One function that would take minutes to compile.
;; times 1: (func (param i32) (result i32) local.get 0
;; times 400000: i32.const 1 i32.add 
;; times 1: )
