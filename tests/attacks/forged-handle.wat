;; Uses a handle that it never received.
(import "blockyard:bundle/streams@0.1.0" "[method]body.media-type" (func $media-type (param i32 i32)))
(func $invoke (type $call) (call $media-type (i32.const 77) (i32.const 512)) (call $null))
