// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "Storyteller",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "swerve", path: "../..")],
  targets: [
    .executableTarget(name: "Storyteller", dependencies: [.product(name: "Swerve", package: "swerve")])
  ])
