;; Has more functions than the host compiles.
;; times 200001: (func)
