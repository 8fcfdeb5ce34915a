import SwerveCommand

await SwerveMain.run()
