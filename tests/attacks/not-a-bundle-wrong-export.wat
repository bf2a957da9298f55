;; A component whose only export is a `describe` that returns a number.
(component
    (core module $module (func (export "describe") (result i32) (i32.const 0)))
    (core instance $instance (instantiate $module))
    (func $describe (result u32) (canon lift (core func $instance "describe")))
    (instance $types (export "describe" (func $describe)))
    (export "blockyard:bundle/block-types@0.1.0" (instance $types)))
