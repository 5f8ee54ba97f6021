module example.com/simpleipc

go 1.26.0

