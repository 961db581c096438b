from vaultembed.cli import main

main()
