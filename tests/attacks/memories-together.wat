;; Two memories, each below the limit, that exceed it together.
(memory $memory 2)
(memory $other 1)
(func $invoke (type $call)
    (drop (memory.grow $memory (i32.const 2500)))
    (if (i32.eq (memory.grow $other (i32.const 2500)) (i32.const -1)) (then (unreachable)))
    (call $null))
