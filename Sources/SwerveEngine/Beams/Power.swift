#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

func swervePow(_ base: Float, _ exponent: Float) -> Float { powf(base, exponent) }
